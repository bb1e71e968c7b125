"""What tests of more than one file share: stages, data sets, models, servers and programs to be killed.

Fixtures are in conftest.py files; here are the parts that they and the tests are made of.
"""
