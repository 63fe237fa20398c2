"""Bodies out of single pictures: what `nightrig fit` reads, does and writes.

Knows pictures, key points and body models; nothing of rings, sessions or cameras that run.
"""
