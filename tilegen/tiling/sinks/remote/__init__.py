"""Products in object stores: buckets that speak S3."""
