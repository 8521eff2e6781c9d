"""A results folder in the browser: what `xharness show` prints, as pages of this machine alone."""
