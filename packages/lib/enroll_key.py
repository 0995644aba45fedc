#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""enroll_key.py LOG PASSWORD COMMAND...: runs a virtual machine whose serial port is the terminal
of this command, and enrolls the key that waits for it: presses the keys on the screens of
MokManager, a part of shim, as its user would. Then waits for the end of the machine. LOG receives
all output. Fails if a screen does not come, and names it."""

import re
import sys

import pexpect

log, password, *command = sys.argv[1:]

DOWN = b"\x1b[B"
ENTER = b"\r"
# Each screen, and what is pressed there. The first item of a menu is chosen already.
SCREENS = [
    ("Press any key to perform MOK management", ENTER),
    ("Continue boot.*Enroll MOK", DOWN + ENTER),
    ("View key 0.*Continue", DOWN + ENTER),
    ("Enroll the key.*No.*Yes", DOWN + ENTER),
    ("Password:", password.encode() + ENTER),
    ("Perform MOK management.*Reboot", ENTER),
]
SECONDS_OF_A_SCREEN = 180
SECONDS_OF_THE_MACHINE = 1200


def pattern(text):
    """Between two words of a screen there may be sequences that place the cursor."""
    return re.compile(text.replace(" ", r"(?:\s|\x1b\[[0-9;]*[A-Za-z])+").encode(), re.DOTALL)


with open(log, "wb") as output:
    machine = pexpect.spawn(command[0], command[1:], logfile=output, timeout=SECONDS_OF_A_SCREEN)
    # The screens are for a terminal of this size.
    machine.setwinsize(25, 80)
    for text, keys in SCREENS:
        try:
            machine.expect(pattern(text))
        except (pexpect.TIMEOUT, pexpect.EOF):
            machine.close(force=True)
            sys.exit(f"the screen with '{text}' did not come: {log}")
        machine.send(keys)
    try:
        machine.expect(pexpect.EOF, timeout=SECONDS_OF_THE_MACHINE)
    except pexpect.TIMEOUT:
        machine.close(force=True)
        sys.exit(f"the machine did not end: {log}")
    machine.close()
sys.exit(machine.exitstatus or 0)
