"""Results of a function over a stream of jobs, in order, computed ahead of the consumer by threads.

Not `concurrent.futures.ThreadPoolExecutor`: Python finishes everything queued there before it exits, so that Ctrl-C
with a slow disk would seem to hang. Here an iteration that ends, fails, is dropped, or is still open when Python exits
stops its threads after the job each of them is at.
"""

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any


class ParallelMap:
    """Iterator of function(job) for every job, in the order of the jobs.

    The function runs in threads, so it gains from several where it leaves Python (Pillow and NumPy do). An exception in
    it is raised to the consumer, at the job's turn, as it is.

    Args:
        function: called with a job; must not refer to this iterator.
        jobs: read by the consumer's thread, at most `ahead` further than it has come.
        workers: number of threads.
        ahead: jobs waiting, running or finished at any time.
    """

    def __init__(self, function: Callable[[Any], Any], jobs: Iterable[Any], workers: int, ahead: int) -> None:
        self._jobs = iter(jobs)
        self._ahead = ahead
        self._pending: deque[Future] = deque()
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        stop = threading.Event()
        threads = [
            threading.Thread(target=_work, args=(function, self._tasks, stop), name=f"data-{worker}", daemon=True)
            for worker in range(workers)
        ]
        self.close = weakref.finalize(self, _stop, self._tasks, stop, threads)  # runs also at Python's exit
        for thread in threads:
            thread.start()

    def __iter__(self) -> "ParallelMap":
        return self

    def __next__(self) -> Any:
        if not self.close.alive:
            raise StopIteration
        try:
            while len(self._pending) < self._ahead:
                job = next(self._jobs)
                future: Future = Future()
                self._pending.append(future)
                self._tasks.put((job, future))
        except StopIteration:
            pass
        if not self._pending:
            self.close()
            raise StopIteration
        try:
            return self._pending.popleft().result()
        except BaseException:  # Ctrl-C too
            self.close()
            raise


def _work(function: Callable[[Any], Any], tasks: queue.SimpleQueue, stop: threading.Event) -> None:
    while (task := tasks.get()) is not None and not stop.is_set():
        job, future = task
        try:
            future.set_result(function(job))
        except BaseException as error:
            future.set_exception(error)


def _stop(tasks: queue.SimpleQueue, stop: threading.Event, threads: list[threading.Thread]) -> None:
    stop.set()
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        if thread is not threading.current_thread():  # the garbage collector may run this in one of them
            thread.join()
