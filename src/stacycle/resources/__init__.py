"""Resources: what a site has, its GPUs and locks."""
