"""A client of Hone's API (docs/api.md), of the standard library alone; pandas and `datasets` are used where they are.

    hone = Hone("https://hone.example", token)
    project = hone.project("kindness")
    project.import_rows([{"prompt": "What is a hen?"}])
    judgments = project.to_pandas("judgments")

client.py        Hone, and a project's data
labeling.py      a project's tasks, exports and runs
reviewing.py     adjudication and the exam
async_client.py  the same for asyncio
tables.py        pandas and datasets
records.py       what replies hold
transport.py     requests, repeated where that is safe
"""

from hone_client.async_client import AsyncHone, AsyncProject
from hone_client.client import Hone, Project
from hone_client.transport import HoneError

__all__ = ["AsyncHone", "AsyncProject", "Hone", "HoneError", "Project"]
