"""The toolbox of every process of ours: waiting, whole files, being a service.

Imports `model` for the settings that a service loads. Knows neither Redis, D-Bus nor what a deploy is.
"""
