"""hypercon beside other libraries on the same work: what `hypercon bench` runs, from a source checkout.

`rows` says what is measured and what it should come to, `work` draws its inputs and computes it plainly in float64, and
`peers/` does it in each library. `worker` is the process that one library runs in, `processes` the other end of it.
`suite` compares, times and weighs; `report` prints; `growth` follows cost over size.

This package alone must import without hypercon: peers run in interpreters that do not have it.
"""
