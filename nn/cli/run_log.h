#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace weft::cli {

/// log.jsonl of a run folder: one JSON object per line, each with its "event" and the seconds since the start.
class RunLog {
 public:
  /// Starts the file anew. Throws IoError.
  explicit RunLog(const std::filesystem::path& folder);
  /// Writes one line and flushes it. Throws IoError, when the disk is full for example.
  void write(const std::string& event, const nlohmann::ordered_json& fields);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace weft::cli
