"""The sandwich (夹心测试): our terminals in front of somebody else's switch, our network centre behind it.

Both sides are recorded, joined and checked against a table that says, field by field, what a switch must carry,
convert, add and drop.
"""
