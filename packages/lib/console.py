#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""console.py LOG COMMAND...: runs a machine whose serial console is the terminal of COMMAND, and
writes what it prints to LOG. Each line of standard input is a step:

    wait TEXT   until the console has printed TEXT
    type TEXT   presses the keys of TEXT, and Enter
    press KEY   presses `down` or `enter`

Then waits for the end of COMMAND. Fails if the console did not print a TEXT, and names it, or if
COMMAND fails."""

import re
import sys
import time

import pexpect

KEYS = {"down": "\x1b[B", "enter": "\r"}
SECONDS_OF_A_STEP = 600


def pattern(text):
    """Between two words of a screen there may be sequences that place the cursor."""
    words = map(re.escape, text.split(" "))
    return re.compile(r"(?:\s|\x1b\[[0-9;]*[A-Za-z])+".join(words).encode())


def press(machine, keys):
    # One by one: a serial port without flow control loses what comes faster than it is read.
    for key in keys:
        machine.send(key)


def perform(machine, action, text):
    if action == "wait":
        machine.expect(pattern(text))
    elif action == "type":
        # A program that has just printed its question may drop what it has not read.
        time.sleep(1 if text else 0)
        press(machine, [*text, KEYS["enter"]])
    else:
        press(machine, [KEYS[text]])


log, *command = sys.argv[1:]
steps = [line.rstrip("\n").partition(" ") for line in sys.stdin if line.strip()]
with open(log, "wb") as output:
    machine = pexpect.spawn(command[0], command[1:], timeout=SECONDS_OF_A_STEP)
    machine.logfile_read = output
    # Screens are for a terminal of this size.
    machine.setwinsize(25, 80)
    for action, _, text in steps:
        try:
            perform(machine, action, text)
        except (pexpect.TIMEOUT, pexpect.EOF):
            machine.close(force=True)
            sys.exit(f"the console did not get to: {action} {text}")
    machine.expect(pexpect.EOF, timeout=None)
    machine.wait()
if machine.exitstatus is None:
    sys.exit(f"the machine was ended by signal {machine.signalstatus}")
sys.exit(machine.exitstatus)
