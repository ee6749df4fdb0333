#pragma once

#include <string>

namespace weft::cpu {

/// The CPU quota of this process's cgroup (v2 or v1) and its parents, in whole CPUs rounded up; 0 if there is none.
/// Files are read below `root`, which tests replace.
int cgroup_cpus(const std::string& root = "");

}  // namespace weft::cpu
