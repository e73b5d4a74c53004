// Parallel loops over independent tasks, on PyTorch's OpenMP threads.
//
// A process has one OpenMP thread pool; a second pool would compete with it for the cores. No task reads or writes memory
// that another task writes, so that results are bit-identical for any number of threads.
#pragma once

#include <cstdlib>

namespace {

// Zero-initialised scratch memory of one thread, freed at the end of the scope.
class Scratch {
  public:
    explicit Scratch(long floats) : floats_(static_cast<float*>(std::calloc(floats + 16, sizeof(float)))) {}
    ~Scratch() { std::free(floats_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    operator float*() { return floats_; }

  private:
    float* floats_;
};

// Calls body(task, scratch) for tasks 0 ... tasks - 1. Each thread has `floats` of scratch, zero before its first task.
template <class Body>
void parallel(long tasks, int threads, long floats, Body body) {
#pragma omp parallel num_threads(threads) if (threads > 1 && tasks > 1)
    {
        Scratch scratch(floats);
#pragma omp for schedule(dynamic)
        for (long task = 0; task < tasks; task++) body(task, static_cast<float*>(scratch));
    }
}

}  // namespace
