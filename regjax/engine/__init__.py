"""What trains a design: the only place where networks of a sweep are trained."""
