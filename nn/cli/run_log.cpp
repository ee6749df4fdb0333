#include "cli/run_log.h"

#include <cerrno>
#include <chrono>
#include <cstring>

#include "weft/error.h"

namespace weft::cli {

RunLog::RunLog(const std::filesystem::path& folder) : path_(folder / "log.jsonl"), file_(path_) {
  if (!file_) throw IoError(path_.string() + ": cannot be written (" + std::strerror(errno) + ")");
}

void RunLog::write(const std::string& event, const nlohmann::ordered_json& fields) {
  nlohmann::ordered_json line = {
      {"event", event}, {"time", std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count()}};
  line.update(fields);
  // A path need not be UTF-8, which JSON is.
  file_ << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
  if (!file_) throw IoError(path_.string() + ": cannot be written (" + std::strerror(errno) + ")");
}

}  // namespace weft::cli
