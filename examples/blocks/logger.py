"""StructuredLogger: JSON lines under the id of what is being served, carried into jobs, without secrets."""

import json
import logging
import sys

from valhalla import StructuredLogger, WorkerProcess


class Short(logging.Formatter):
    """Leaves out what differs each time."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its instant."""
        line = json.loads(record.getMessage())
        del line["timestamp"]
        return json.dumps(line)


def main() -> None:
    """Tell the story."""
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(Short())
    shop = logging.Logger("shop")
    shop.addHandler(output)
    logger = StructuredLogger(shop)
    with logger.correlated("request-7"), WorkerProcess() as worker:
        logger.log_action("order_placed", order="A-1", correlation_id="forged", password="hunter2")
        worker.wait(worker.submit_job("mail", logger.log_action, "mail_sent"), 10)


if __name__ == "__main__":
    main()
