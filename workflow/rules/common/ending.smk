"""What is said at the end of a run."""


def tell_report():
    if Path(REPORT).is_file():
        print(f"Report: {Path(REPORT).absolute()}")


def tell_report_if_all_is_done(record):
    """A filter that keeps every log record: a run with nothing to do ends without `onsuccess`."""
    if record.msg == NOTHING_TO_BE_DONE_MSG:
        atexit.register(tell_report)
    return True


STARTED = time.time()


def causes():
    """The plain lines that scripts failed with since this start: from `error: ` to the end of their logs."""
    logs = [log for log in Path("logs").rglob("*.log") if log.stat().st_mtime >= STARTED]
    for log in sorted(logs, key=lambda log: log.stat().st_mtime):
        if (cause := re.search(r"^error: .*", log.read_text(errors="replace"), re.MULTILINE | re.DOTALL)) is not None:
            yield cause[0].strip()
