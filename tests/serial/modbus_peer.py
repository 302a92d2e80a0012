"""A line of Modbus RTU slaves, served by pymodbus: a sensor at address 1, a relay board at 2.

Usage: modbus_peer.py TTY. Says on standard output what happens to it, a line each:
  ready               it listens
  flash CHANNEL TIME  function 5 wrote TIME to the flash coil of CHANNEL
  on CHANNEL          the relay's contact closed, and its door opened
  off CHANNEL         the relay's contact opened, by this script's own clock
  write FUNCTION      anything else was written
Reads from standard input:
  close CHANNEL       somebody closes the door
  set ADDRESS VALUE   the sensor's input register ADDRESS has this value now
"""

import asyncio
import struct
import sys

from pymodbus.constants import ExcCodes
from pymodbus.datastore import (
    ModbusDeviceContext,
    ModbusSequentialDataBlock,
    ModbusServerContext,
    ModbusSparseDataBlock,
)
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer

CHANNELS = 8
FLASH = 0x200
# A unit of the flash time.
UNIT_S = 0.1


def say(*words):
    print(*words, flush=True)


def words(form, number):
    """A number as registers, the higher one first."""
    return list(struct.unpack(">HH", struct.pack(form, number)))


def sensor():
    # The blocks count from 1 where the wire counts from 0.
    inputs = {
        0: [0xFF85],  # -12.3 in tenths
        1: [65535],
        2: words(">I", 3_000_000_000),
        4: words(">i", -70_000)[::-1],
        6: words(">f", 21.3),
        8: words(">f", -0.5)[::-1],
        10: words(">f", float("nan")),
        # Nothing at 12 and 13: reading across them is refused.
        14: [7],
    }
    flat = {at + n + 1: word for at, block in inputs.items() for n, word in enumerate(block)}
    return ModbusDeviceContext(
        di=ModbusSequentialDataBlock(1, [True, False, True]),
        co=ModbusSequentialDataBlock(1, [False, True]),
        hr=ModbusSequentialDataBlock(1, [100, 200, 300]),
        ir=ModbusSparseDataBlock(flat),
    )


class Relays(ModbusDeviceContext):
    """Relays with a lock and a contact each: a discrete input, set while the door is closed."""

    def __init__(self):
        super().__init__(
            di=ModbusSequentialDataBlock(1, [True] * CHANNELS),
            co=ModbusSequentialDataBlock(1, [False] * CHANNELS),
            hr=ModbusSequentialDataBlock(1, [0]),
            ir=ModbusSequentialDataBlock(1, [0]),
        )

    def flash(self, channel, time):
        say("flash", channel, time)
        self.store["c"].setValues(channel, [True])
        self.store["d"].setValues(channel, [False])
        say("on", channel)
        asyncio.get_running_loop().call_later(time * UNIT_S, self.release, channel)

    def release(self, channel):
        self.store["c"].setValues(channel, [False])
        say("off", channel)

    def close(self, channel):
        self.store["d"].setValues(channel, [True])

    def setValues(self, func_code, address, values):
        say("write", func_code)
        return super().setValues(func_code, address, values)


class WriteCoil(ModbusPDU):
    """Function 5 with its data as it came: pymodbus itself knows on and off only."""

    function_code = 5
    rtu_frame_size = 8

    def encode(self):
        return struct.pack(">HH", self.address, self.value)

    def decode(self, data):
        self.address, self.value = struct.unpack(">HH", data[:4])

    async def update_datastore(self, context):
        channel = self.address - FLASH + 1
        if not isinstance(context, Relays) or not 1 <= channel <= CHANNELS:
            say("write", 5)
            return ExceptionResponse(5, ExcCodes.ILLEGAL_ADDRESS)
        context.flash(channel, self.value)
        return self


async def main(tty):
    climate, relays = sensor(), Relays()
    server = ModbusSerialServer(
        ModbusServerContext({1: climate, 2: relays}, single=False),
        framer=FramerType.RTU,
        ignore_missing_devices=True,
        port=tty,
        baudrate=115200,
        custom_pdu=[WriteCoil],
    )
    await server.serve_forever(background=True)
    say("ready")
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := (await orders.readline()).split():
        if order[0] == b"close":
            relays.close(int(order[1]))
        elif order[0] == b"set":
            climate.store["i"].setValues(int(order[1]) + 1, [int(order[2])])


asyncio.run(main(sys.argv[1]))
