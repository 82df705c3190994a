"""A sweep as one page that opens offline."""
