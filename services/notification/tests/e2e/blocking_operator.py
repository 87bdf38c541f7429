"""The Notification operator, but for one thing: SIGUSR1 blocks its event loop, so long as BLOCK_SECONDS says.

BLOCK_SECONDS are numbers, one for each signal.

For faults that come from inside: a library that does not yield, a computation that takes too long.
"""

import asyncio
import os
import signal
import sys
import time
from dataclasses import replace

from kubernaut_notification.app import OPERATOR
from kubernaut_notification.config import NotificationConfig
from kubernaut_runtime import Runtime, run_operator


async def setup(runtime: Runtime[NotificationConfig]) -> None:
    spans = iter(os.environ["BLOCK_SECONDS"].split())
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: time.sleep(float(next(spans))))
    await OPERATOR.setup(runtime)


if __name__ == "__main__":
    sys.exit(run_operator(replace(OPERATOR, setup=setup)))
