// WAV in, values out: an exported model that was compiled to C, and nothing else.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "avix_model.h"

namespace {

using Bytes = std::vector<char>;

template <typename T>
T at(const Bytes &bytes, std::size_t place) {
  T value;
  if (place + sizeof(T) > bytes.size()) throw std::runtime_error("the file ends too early");
  std::memcpy(&value, bytes.data() + place, sizeof(T));
  return value;
}

// The samples of a WAV file of one channel, 16-bit or float32, at the model's rate.
std::vector<float> read_wav(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  const Bytes bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < 12 || std::memcmp(bytes.data(), "RIFF", 4) || std::memcmp(&bytes[8], "WAVE", 4))
    throw std::runtime_error("it is no WAV file");
  std::uint16_t format = 0, channels = 0, bits = 0;
  std::uint32_t rate = 0;
  for (std::size_t place = 12; place + 8 <= bytes.size();) {
    const auto size = at<std::uint32_t>(bytes, place + 4);
    const std::size_t start = place + 8;
    if (!std::memcmp(&bytes[place], "fmt ", 4)) {
      format = at<std::uint16_t>(bytes, start);
      channels = at<std::uint16_t>(bytes, start + 2);
      rate = at<std::uint32_t>(bytes, start + 4);
      bits = at<std::uint16_t>(bytes, start + 14);
    } else if (!std::memcmp(&bytes[place], "data", 4)) {
      const bool is_float = format == 3 && bits == 32, is_int = format == 1 && bits == 16;
      if (channels != 1 || rate != AVIX_RATE_HZ || !(is_float || is_int))
        throw std::runtime_error("expected one channel of " + std::to_string(AVIX_RATE_HZ) +
                                 " Hz, 16 bits or float32");
      const std::size_t end = std::min(bytes.size(), start + size), step = bits / 8;
      std::vector<float> samples;
      for (std::size_t k = start; k + step <= end; k += step)
        samples.push_back(is_float ? at<float>(bytes, k) : at<std::int16_t>(bytes, k) / 32768.0f);
      return samples;
    }
    place = start + size + size % 2;
  }
  throw std::runtime_error("there are no samples in it");
}

// Where a sound begins: with the first sample within 40 dB of its peak, or with the rise to it
// from silence within 3 ms.
std::size_t onset(const std::vector<float> &samples) {
  float peak = 0;
  for (float x : samples) peak = std::max(peak, std::fabs(x));
  if (peak == 0) throw std::runtime_error("it is silent");
  const auto first = [&](float least) {
    return std::size_t(std::find_if(samples.begin(), samples.end(),
                                    [&](float x) { return std::fabs(x) >= least; }) -
                       samples.begin());
  };
  const std::size_t loud = first(0.01f * peak), heard = first(1e-37f);
  const std::size_t begin = heard > 1 ? heard - 1 : 0;
  return loud - begin <= 0.003 * AVIX_RATE_HZ ? begin : loud;
}

void run(const std::string &path) {
  const auto samples = read_wav(path);
  const auto begin = samples.begin() + std::ptrdiff_t(onset(samples));
  static float audio[1][AVIX_SAMPLES];  // what is behind the sound's end is silence
  std::copy_n(begin, std::min<std::ptrdiff_t>(samples.end() - begin, AVIX_SAMPLES), audio[0]);
  const auto out = std::make_unique<avix_outputs>();
  avix_read(audio, *out);
  for (std::size_t k = 0; k < std::size(avix_names); ++k) {
    std::printf("%s %.6g %s", avix_names[k], out->values[0][k], avix_units[k]);
#if AVIX_HAS_INTERVALS
    std::printf(" [%.6g, %.6g]", out->low[0][k], out->high[0][k]);
#endif
    std::printf("\n");
  }
#if AVIX_HAS_UNLIKE
  if (out->unlike[0] < 0.01f) std::printf("unlike the training sounds (p < 0.01)\n");
#endif
  constexpr int runs = 50;
  const std::clock_t start = std::clock();
  for (int k = 0; k < runs; ++k) avix_read(audio, *out);
  const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
  std::printf("%.3f ms of one core a sound\n", 1000 * seconds / runs);
}

}  // namespace

int main(int count, char **words) {
  if (count != 2) {
    std::fprintf(stderr, "usage: read_sound SOUND.wav\n");
    return 2;
  }
  try {
    run(words[1]);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s: %s\n", words[1], error.what());
    return 1;
  }
}
