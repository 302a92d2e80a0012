//! What linli says about devices that are added, let in and taken out.
