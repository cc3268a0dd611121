"""Command line of the oracle: commands on stdin, an answer in JSON to each on stdout.

run          send new events from now on                       answered at once
send N       send N new events                                 answered when every one has its answer
pause        send no new events                                answered when nothing is on its way
stop         pause, and end; the end of stdin and SIGTERM do the same
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import sys
from pathlib import Path

from tests.oracle.events import Events
from tests.oracle.sender import Sender


async def obey(sender: Sender, connections: int) -> None:
    """Take commands until the last one."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, commands.feed_eof)
    sending = asyncio.create_task(sender.run(connections))
    while not sending.done():
        command, _, argument = (await commands.readline()).decode().strip().partition(" ")
        await sender.allow({"run": math.inf, "send": int(argument or 0)}.get(command, 0))
        if command != "run":
            resting = asyncio.create_task(sender.rest())
            await asyncio.wait([resting, sending], return_when=asyncio.FIRST_COMPLETED)
        print(json.dumps(sender.counts), flush=True)  # noqa: T201 - the answer
        if command in ("stop", ""):
            break
    if sending.done():
        sending.result()  # raises what went wrong
    sending.cancel()


def main() -> None:
    """Read the options, obey."""
    parser = argparse.ArgumentParser(prog="oracle", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", required=True, help="where events are posted to")
    parser.add_argument("--journal", required=True, type=Path, help="file to append to")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--events-per-second", type=float, default=0, help="0: as fast as the answers come")
    parser.add_argument("--resend-share", type=float, default=0.05, help="of requests: sent again after their answer")
    options = parser.parse_args()

    async def run() -> None:
        sender = Sender(
            options.url,
            Events(options.seed),
            options.journal,
            events_per_second=options.events_per_second,
            resend_share=options.resend_share,
        )
        await obey(sender, options.connections)

    asyncio.run(run())


main()
