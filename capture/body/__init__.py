"""Mathematics of bodies: arrays in, arrays out; no cameras, no files of ours, no processes."""
