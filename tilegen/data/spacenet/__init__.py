"""SpaceNet as it is distributed: which chips there are, and what their labels say."""
