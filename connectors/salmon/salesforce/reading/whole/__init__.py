"""Reading whole objects: a run, its parts, the rows of each by REST or Bulk API 2.0, and the time that each reading is of."""
