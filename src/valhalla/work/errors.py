"""What can be wrong with a job, as problems with a way out."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class UnknownJob(Invalid):
    """No function is registered under the name; nothing was submitted."""

    code = "unknown-job"
    title = "No job has that name"
    help = "Register the function with @jobs.job(name) in this process, or correct the name; 'known' lists them."


class BadArguments(Invalid):
    """The arguments do not fit the function's parameters; nothing was submitted."""

    code = "bad-job-arguments"
    title = "The arguments do not fit the job"
    help = "Send JSON values for exactly the parameters that the function declares."


class NoSuchJob(NotFound):
    """There is no job with this id."""

    code = "no-such-job"
    title = "There is no such job"
    help = "Check the id; finished jobs are removed after the retention time."


class NotReplayable(Conflict):
    """Only a dead, cancelled or held job can be put back into its queue."""

    code = "job-not-replayable"
    title = "This job cannot be replayed"
    help = "A queued or running job goes on by itself; submit a new one to do succeeded work again."


class NoSuchSchedule(NotFound):
    """There is no schedule with this name."""

    code = "no-such-schedule"
    title = "There is no such schedule"
    help = "Check the name."


class BuiltInSchedule(Conflict):
    """The control plane writes its own schedules anew at every start."""

    code = "built-in-schedule"
    title = "This schedule is the control plane's own"
    help = "Pause it instead, or choose a name that does not begin with 'valhalla.'."


class BadTiming(Invalid):
    """The schedule would never run, or its timing cannot be read."""

    code = "bad-schedule"
    title = "The schedule's timing is not valid"
    help = "Write five cron fields and a time zone, an interval in seconds, or an instant with its offset."


class NoSuchHeartbeat(NotFound):
    """Nobody expects a heartbeat with this name."""

    code = "no-such-heartbeat"
    title = "There is no such heartbeat"
    help = "Expect it first: PUT its interval, or send 'interval' with the first ping."
