"""The figures of `sunsim figures`: one module a figure, which draws a table."""
