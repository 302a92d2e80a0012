//! A simulated estate: devices that speak real MQTT.
