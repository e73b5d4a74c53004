// Independent tasks on the threads that PyTorch computes with.
//
// Both are OpenMP, and one process has one OpenMP pool: a second pool would fight with the first for the cores. Every
// task writes what no other task writes and reads nothing that another writes, so that the result is the same to the
// bit for any number of threads.
#pragma once

#include <cstdlib>

namespace {

// Floats of a thread's own, set to zero; they end with the scope.
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

// body(task, scratch) for every task of 0 ... tasks - 1; each thread has `floats` of scratch, zero at its first task.
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
