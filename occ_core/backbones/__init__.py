"""Image backbones: images in, one feature map per stride out."""
