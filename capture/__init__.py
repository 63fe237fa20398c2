"""The live service: everything that knows what a camera, a person or a session is."""
