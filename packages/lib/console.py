#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""console.py LOG COMMAND...: runs a machine whose serial console is the standard input and output
of COMMAND, and writes what it prints to LOG. Each line of standard input is `wait TEXT`, until the
console prints TEXT, or `type TEXT`, which is followed by the Enter key. Then waits for the end of
COMMAND. Fails if the console did not print a TEXT, or COMMAND fails."""

import subprocess
import sys
import time


def main():
    # The machine must not get what this program reads.
    steps = [line.rstrip("\n").partition(" ") for line in sys.stdin if line.strip()]
    machine = subprocess.Popen(
        sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    printed = b""
    with open(sys.argv[1], "wb") as log:
        while True:
            while steps:
                action, _, text = steps[0]
                if action == "wait":
                    end = printed.find(text.encode())
                    if end < 0:
                        break
                    printed = printed[end + len(text.encode()) :]
                else:
                    # A program that has just printed its question may drop what it has not read.
                    time.sleep(1 if text else 0)
                    for character in text + "\r":
                        machine.stdin.write(character.encode())
                        time.sleep(0.02)
                steps.pop(0)
            new = machine.stdout.read(1 << 16)
            if not new:
                break
            log.write(new)
            log.flush()
            printed += new
    for action, _, text in steps:
        print(f"the console did not get to: {action} {text}")
        break
    sys.exit(machine.wait() or bool(steps))


main()
