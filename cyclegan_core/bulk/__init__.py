"""Bulk translation: any number of pictures, on any number of computers, by Ray Data.

- `places`: folders on disks and in object stores.
- `worklist`: which pictures are still to be done.
- `lease`: one driver at a time.
- `reading`: the files of a block, read ahead.
- `attempts`: how a picture is found that kills its workers.
- `worker`: translates blocks of pictures, whoever hands them to it.
- `report`: a table of what was done, and a summary.
- `arrow`: pyarrow, for a type checker.
- `bulk`: the job, which has Ray hand out the blocks.

Everything beyond `worker` is the driver's. Nothing here is imported before it is needed: it wants
the extra `ray`.
"""
