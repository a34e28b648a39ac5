"""Maximum-likelihood classification and refinement."""
