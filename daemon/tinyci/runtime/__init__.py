"""The toolbox of all our processes: waiting, whole files, the life of a service.

It imports `model` for the settings that a service loads, and knows neither Redis, D-Bus nor what a deploy is.
"""
