"""Networks, losses, decoding, metrics and the LightningModule."""
