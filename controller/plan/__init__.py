"""What to change, in which order, and why. Pure: desired x observed x policy x now -> Plan.

Absent: retries, clocks, partial results, any knowledge of how an action is carried out.
"""
