"""Published camera models, compact and faithful: what plug-in modules are tried on beside our own
model.
"""
