"""Open deals by industry, from the files that Kafka Connect writes: `python pipeline.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import duckdb

# Of each key, the line with the highest offset is how the record is now; a deleted record has none of its fields left.
NOW: Final = """
CREATE VIEW {name} AS
SELECT key, record FROM read_json(?, format = 'newline_delimited', sample_size = -1)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY "offset" DESC) = 1 AND record IS NOT NULL
"""
OPEN_DEALS: Final = """
SELECT coalesce(account.record.Industry, 'unknown') AS industry, count(*) AS deals, sum(deal.record.Amount) AS amount
FROM Opportunity AS deal JOIN Account AS account ON deal.record.AccountId = account.key
WHERE NOT deal.record.IsClosed
GROUP BY industry ORDER BY amount DESC LIMIT 5
"""


def main(folder: Path) -> None:
    database = duckdb.connect()
    for name in ("Account", "Opportunity"):
        file = str(folder / f"{name}.jsonl").replace("'", "''")
        database.execute(NOW.format(name=name).replace("?", f"'{file}'"))
    for industry, deals, amount in database.execute(OPEN_DEALS).fetchall():
        print(f"{industry:20} {deals:4} {amount or 0:14,.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
