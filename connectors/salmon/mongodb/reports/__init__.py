"""Reports as MongoDB's aggregations over the documents of an object: what is asked, the pipeline, its rows, its indexes."""
