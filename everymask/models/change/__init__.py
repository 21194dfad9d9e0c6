"""Networks that compare two dates: made for it, or semantic networks whose encoder sees both."""
