// Images resized and transformed as Pillow does it, to the bit, in a fraction of its time, and a detector's images as
// NumPy does it. resampling.py has this file compiled and calls the functions at its end.
//
// Sums of several pixels are taken over kBlock bytes side by side, which compilers turn into vectors. Nothing here
// starts a thread: the processes that read images are as many as there are cores.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kBlock = 64;  // bytes: 16 of four bytes each
constexpr int kVectors = kBlock / 4 / kLanes;

typedef uint32_t Fours __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));

// ---- Resizing: weighted means of neighbours, along rows and then along columns, each rounded to 8 bits.

constexpr int kFixed = 22;  // bits after the point of a weight

double Triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

// Keys' cubic with a = -1/2.
double Cubic(double x) {
  x = std::fabs(x);
  if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
  return 0.0;
}

// For each of `size` new pixels of a line: the first of the old ones that it is a mean of, and their weights.
struct Means {
  struct Mean {
    int64_t first, count, weights;  // the weights begin there
  };
  std::vector<Mean> means;
  std::vector<int32_t> weights;

  Means(int64_t old_size, int64_t size, bool is_cubic) : means(size) {
    const double scale = static_cast<double>(old_size) / size, stretch = std::max(scale, 1.0);
    const double reach = (is_cubic ? 2.0 : 1.0) * stretch, per_pixel = 1.0 / stretch;
    std::vector<double> parts;
    for (int64_t i = 0; i < size; ++i) {
      const double middle = (i + 0.5) * scale;
      const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(middle - reach + 0.5));
      const int64_t last = std::min(old_size, static_cast<int64_t>(middle + reach + 0.5));
      parts.resize(last - first);
      double sum = 0.0;
      for (int64_t j = first; j < last; ++j) {
        const double away = (j - middle + 0.5) * per_pixel;
        sum += parts[j - first] = is_cubic ? Cubic(away) : Triangle(away);
      }
      means[i] = {first, last - first, static_cast<int64_t>(weights.size())};
      for (double part : parts) {
        if (sum != 0.0) part /= sum;
        weights.push_back(static_cast<int32_t>(part * (1 << kFixed) + (part < 0.0 ? -0.5 : 0.5)));
      }
    }
  }
};

// The means of `count` blocks of bytes, `step` bytes from each other. Of every four bytes the last ones, from kUsed on,
// are not used and come out as 0.
template <int kUsed>
inline void MeanOfBlocks(const uint8_t* blocks, int64_t step, const int32_t* weights, int64_t count, uint8_t* mean) {
  Ints sums[kVectors][kUsed];
  for (auto& vector : sums)
    for (Ints& sum : vector) sum = Ints{} + (1 << (kFixed - 1));
  for (int64_t j = 0; j < count; ++j) {
    for (int k = 0; k < kVectors; ++k) {
      Fours fours;
      std::memcpy(&fours, blocks + j * step + k * sizeof(fours), sizeof(fours));
      for (int i = 0; i < kUsed; ++i) sums[k][i] += (Ints)(fours >> (8 * i) & 255) * weights[j];
    }
  }
  for (int k = 0; k < kVectors; ++k) {
    Fours fours = {};
    for (int i = 0; i < kUsed; ++i) {
      Ints sum = sums[k][i] >> kFixed;
      sum = sum < 0 ? Ints{} : sum;
      sum = sum > 255 ? Ints{} + 255 : sum;
      fours |= (Fours)sum << (8 * i);
    }
    std::memcpy(mean + k * sizeof(fours), &fours, sizeof(fours));
  }
}

// An image of 4 or 1 bytes a pixel; rows are `stride` pixels from each other.
template <typename Pixel>
struct View {
  const Pixel* pixels;
  int64_t stride;
};

template <typename Pixel>
constexpr int kUsed = sizeof(Pixel) == 1 ? 4 : 3;  // of four bytes: a grey pixel each, or red, green, blue and nothing

// Means along rows: (rows, means.size). Rows are taken as many at once as fill a block, and laid side by side.
template <typename Pixel>
void AlongRows(View<Pixel> image, int64_t width, int64_t rows, const Means& means, Pixel* result) {
  constexpr int kRows = kBlock / sizeof(Pixel);
  const int64_t new_width = means.means.size();
  const std::unique_ptr<Pixel[]> block(new Pixel[width * kRows]);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(block.get());
  for (int64_t y = 0; y < rows; y += kRows) {
    const Pixel* lines[kRows];
    for (int64_t r = 0; r < kRows; ++r) lines[r] = image.pixels + std::min(y + r, rows - 1) * image.stride;
    for (int64_t x = 0; x < width; ++x)
      for (int r = 0; r < kRows; ++r) block[x * kRows + r] = lines[r][x];
    const int64_t count = std::min<int64_t>(kRows, rows - y);
    for (int64_t x = 0; x < new_width; ++x) {
      const Means::Mean& mean = means.means[x];
      Pixel column[kRows];
      MeanOfBlocks<kUsed<Pixel>>(bytes + mean.first * kBlock, kBlock, &means.weights[mean.weights], mean.count,
                                 reinterpret_cast<uint8_t*>(column));
      for (int64_t r = 0; r < count; ++r) result[(y + r) * new_width + x] = column[r];
    }
  }
}

// Means along columns, (means.size, width) of rows of `width` bytes, which are `stride` bytes from each other.
template <int kUsed>
void AlongColumns(const uint8_t* rows, int64_t stride, int64_t width, const Means& means, uint8_t* result) {
  for (const Means::Mean& mean : means.means) {
    const uint8_t* first = rows + mean.first * stride;
    const int32_t* weights = &means.weights[mean.weights];
    if (width >= kBlock) {
      for (int64_t x = 0; x < width; x += kBlock) {
        x = std::min(x, width - kBlock);  // the last block may begin in the one before it
        MeanOfBlocks<kUsed>(first + x, stride, weights, mean.count, result + x);
      }
    } else {
      for (int64_t x = 0; x < width; ++x) {
        int32_t sum = 1 << (kFixed - 1);
        for (int64_t j = 0; j < mean.count; ++j) sum += first[j * stride + x] * weights[j];
        result[x] = static_cast<uint8_t>(std::min(std::max(sum >> kFixed, 0), 255));
      }
    }
    result += width;
  }
}

struct Size {
  int64_t width, height;
};

// A direction whose size stays is left as it is.
template <typename Pixel>
void Resize(View<Pixel> image, Size size, bool is_cubic, bool is_columns_first, Pixel* result, Size new_size) {
  const auto along_rows = [&](int64_t height, Pixel* rows) {
    AlongRows(image, size.width, height, Means(size.width, new_size.width, is_cubic), rows);
    image = {rows, new_size.width};
  };
  const auto along_columns = [&](int64_t width, Pixel* rows) {
    AlongColumns<kUsed<Pixel>>(reinterpret_cast<const uint8_t*>(image.pixels), image.stride * sizeof(Pixel),
                               width * sizeof(Pixel), Means(size.height, new_size.height, is_cubic),
                               reinterpret_cast<uint8_t*>(rows));
    image = {rows, width};
  };
  if (size.width == new_size.width && size.height == new_size.height) {
    for (int64_t y = 0; y < size.height; ++y)
      std::copy_n(image.pixels + y * image.stride, size.width, result + y * size.width);
  } else if (size.width == new_size.width) {
    along_columns(size.width, result);
  } else if (size.height == new_size.height) {
    along_rows(size.height, result);
  } else if (is_columns_first) {
    const std::unique_ptr<Pixel[]> between(new Pixel[new_size.height * size.width]);
    along_columns(size.width, between.get());
    along_rows(new_size.height, result);
  } else {
    const std::unique_ptr<Pixel[]> between(new Pixel[size.height * new_size.width]);
    along_rows(size.height, between.get());
    along_columns(new_size.width, result);
  }
}

// ---- Affine transforms: every new pixel from the neighbours of one place, in double precision; several at once.

constexpr int kPixels = kLanes / 2;

typedef double Doubles __attribute__((vector_size(kPixels * 8)));
typedef uint32_t Pixels __attribute__((vector_size(kPixels * 4)));
typedef int32_t Places __attribute__((vector_size(kPixels * 4)));

// Between the values at -kBefore, ..., kTaps - 1 - kBefore, at a place in 0 to 1. At 0 both give the value at 0.
struct Linear {
  static constexpr int kTaps = 2, kBefore = 0;
  static Doubles Between(const Doubles* v, Doubles at) { return v[0] + (v[1] - v[0]) * at; }
};

struct Keys {
  static constexpr int kTaps = 4, kBefore = 1;
  static Doubles Between(const Doubles* v, Doubles at) {
    const Doubles second = 2.0 * (v[0] - v[1]) + v[2] - v[3], third = v[1] - v[0] - v[2] + v[3];
    return v[1] + at * (v[2] - v[0] + at * (second + at * third));
  }
};

inline Places Floor(Doubles values) {
  const Places whole = __builtin_convertvector(values, Places);
  return whole + __builtin_convertvector(values < __builtin_convertvector(whole, Doubles), Places);  // true is -1
}

inline Places Bounded(Places values, int32_t largest) {
  values = values < 0 ? Places{} : values;
  return values > largest ? Places{} + largest : values;
}

// Places along one direction of an image: which pixels they lie behind, and how far, in 0 to 1.
struct Along {
  Doubles at;
  Places first;

  explicit Along(Doubles places) {
    first = Floor(places);
    at = places - __builtin_convertvector(first, Doubles);
  }
};

inline bool AnyOf(Places mask) {
  int32_t all = 0;
  for (int i = 0; i < kPixels; ++i) all |= mask[i];
  return all != 0;
}

struct Source {
  const uint32_t* pixels;
  int32_t height, width;
};

// The pixels of the image at so many places; a direction in which all of them are whole need not be interpolated.
template <typename Filter, bool kAcross, bool kDown>
inline Pixels Interpolated(const Source& image, const Along& across, const Along& down) {
  constexpr int kColumns = kAcross ? Filter::kTaps : 1, kRows = kDown ? Filter::kTaps : 1;
  Pixels near[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    const Places row = Bounded(down.first + (kDown ? r - Filter::kBefore : 0), image.height - 1) * image.width;
    for (int c = 0; c < kColumns; ++c) {
      const Places place = row + Bounded(across.first + (kAcross ? c - Filter::kBefore : 0), image.width - 1);
      Pixels pixels = {};
      for (int i = 0; i < kPixels; ++i) pixels[i] = image.pixels[place[i]];
      near[r][c] = pixels;
    }
  }
  Pixels result = Pixels{} + 0xFF000000u;
  for (int shift = 0; shift < 24; shift += 8) {
    Doubles rows[kRows];
    for (int r = 0; r < kRows; ++r) {
      Doubles columns[kColumns];
      for (int c = 0; c < kColumns; ++c)
        columns[c] = __builtin_convertvector((Places)(near[r][c] >> shift & 255), Doubles);
      rows[r] = kAcross ? Filter::Between(columns, across.at) : columns[0];
    }
    const Doubles value = kDown ? Filter::Between(rows, down.at) : rows[0];
    result |= (Pixels)Bounded(__builtin_convertvector(value, Places), 255) << shift;
  }
  return result;
}

template <typename Filter, bool kAcross, bool kDown>
void Transform(const Source& image, const double* matrix, uint32_t fill, uint32_t* result) {
  Doubles counted;
  for (int i = 0; i < kPixels; ++i) counted[i] = i + 0.5;
  const double width = image.width, height = image.height;
  for (int32_t y = 0; y < image.height; ++y) {
    for (int32_t x = 0; x < image.width; x += kPixels) {
      const Doubles across = matrix[0] * (counted + x) + matrix[1] * (y + 0.5) + matrix[2];
      const Doubles down = matrix[3] * (counted + x) + matrix[4] * (y + 0.5) + matrix[5];
      const auto is_inside = (across >= 0.0) & (across < width) & (down >= 0.0) & (down < height);
      const Places mask = __builtin_convertvector(is_inside, Places);
      Pixels pixels = Pixels{} + fill;
      if (AnyOf(mask)) {
        const Pixels found = Interpolated<Filter, kAcross, kDown>(image, Along(is_inside ? across - 0.5 : Doubles{}),
                                                                  Along(is_inside ? down - 0.5 : Doubles{}));
        pixels = mask ? found : pixels;
      }
      if (x + kPixels <= image.width)
        std::memcpy(result + x, &pixels, sizeof(pixels));
      else
        std::memcpy(result + x, &pixels, (image.width - x) * sizeof(*result));
    }
    result += image.width;
  }
}

// Shears and translations leave one of the coordinates whole.
template <typename Filter>
void Transform(const Source& image, const double* m, uint32_t fill, uint32_t* result) {
  const bool is_whole_across = m[0] == 1.0 && m[1] == 0.0 && m[2] == std::floor(m[2]);
  const bool is_whole_down = m[3] == 0.0 && m[4] == 1.0 && m[5] == std::floor(m[5]);
  (is_whole_down     ? Transform<Filter, true, false>
   : is_whole_across ? Transform<Filter, false, true>
                     : Transform<Filter, true, true>)(image, m, fill, result);
}

// ---- Pixels of Pillow images, handed over by Arrow's C data interface.

struct ArrowArray {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

// The pixels of an image of so many; null where the array is something else.
template <typename Pixel>
Pixel* PixelsOf(const ArrowArray* array, int64_t count) {
  if (array == nullptr || array->length != count || array->offset != 0) return nullptr;
  if (sizeof(Pixel) > 1) {  // a list of 4 values for each
    if (array->n_children != 1) return nullptr;
    array = array->children[0];
    if (array->length != count * static_cast<int64_t>(sizeof(Pixel)) || array->offset != 0) return nullptr;
  }
  if (array->n_children != 0 || array->n_buffers != 2) return nullptr;
  return static_cast<Pixel*>(const_cast<void*>(array->buffers[1]));
}

template <typename Pixel>
int ResizeArrays(const ArrowArray* image, Size size, const int64_t* box, bool is_cubic, bool is_columns_first,
                 const ArrowArray* result, Size new_size) {
  const Pixel* pixels = PixelsOf<Pixel>(image, size.width * size.height);
  Pixel* new_pixels = PixelsOf<Pixel>(result, new_size.width * new_size.height);
  if (pixels == nullptr || new_pixels == nullptr) return 1;
  Resize<Pixel>({pixels + box[1] * size.width + box[0], size.width}, {box[2] - box[0], box[3] - box[1]}, is_cubic,
                is_columns_first, new_pixels, new_size);
  return 0;
}

// ---- A detector's images: between the two nearest pixels of each direction, in whole numbers.

// For each place of a new line: the two old ones that it lies between, and their weights.
struct Neighbours {
  const int64_t *first, *second;
  const int32_t *first_weight, *second_weight;
};

template <int kChannels>
void Interpolate(const uint8_t* image, int64_t width, const Neighbours& rows, const Neighbours& columns,
                 uint8_t* result, Size new_size) {
  const int64_t length = new_size.width * kChannels;
  std::vector<int32_t> both(2 * length);
  int32_t *upper = both.data(), *lower = upper + length;
  int64_t upper_row = -1, lower_row = -1;  // which are held there
  const auto along_row = [&](int64_t row, int32_t* values) {
    const uint8_t* pixels = image + row * width * kChannels;
    for (int64_t x = 0; x < new_size.width; ++x) {
      const uint8_t *left = pixels + columns.first[x] * kChannels, *right = pixels + columns.second[x] * kChannels;
      const int32_t left_weight = columns.first_weight[x], right_weight = columns.second_weight[x];
      for (int c = 0; c < kChannels; ++c)
        values[x * kChannels + c] = (left[c] * left_weight + right[c] * right_weight) >> 4;
    }
  };
  for (int64_t y = 0; y < new_size.height; ++y) {
    if (rows.first[y] == lower_row) {
      std::swap(upper, lower);
      std::swap(upper_row, lower_row);
    }
    if (rows.first[y] != upper_row) along_row(upper_row = rows.first[y], upper);
    if (rows.second[y] != lower_row) along_row(lower_row = rows.second[y], lower);
    const int32_t upper_weight = rows.first_weight[y], lower_weight = rows.second_weight[y];
    for (int64_t i = 0; i < length; ++i)
      result[i] = (((upper[i] * upper_weight) >> 16) + ((lower[i] * lower_weight) >> 16) + 2) >> 2;
    result += length;
  }
}

// A value of a table, (3, 256), for each byte of an image of 3 a pixel. Rows and pixels of the image are so many bytes
// from each other, channels and rows of the result so many values.
void LookUp(const uint8_t* image, const int64_t* apart, Size size, const float* tables, float* result,
            const int64_t* result_apart) {
  for (int64_t y = 0; y < size.height; ++y) {
    const uint8_t* pixel = image + y * apart[0];
    float* __restrict red = result + y * result_apart[1];
    float *__restrict green = red + result_apart[0], *__restrict blue = green + result_apart[0];
    for (int64_t x = 0; x < size.width; ++x, pixel += apart[1]) {
      red[x] = tables[pixel[0]];
      green[x] = tables[256 + pixel[1]];
      blue[x] = tables[512 + pixel[2]];
    }
  }
}

}  // namespace

// Sizes are (width, height), boxes (left, top, right, bottom) within the image, all at least 1; 0 means done.

extern "C" int resize(const ArrowArray* image, int is_colour, const int64_t* size, const int64_t* box, int is_cubic,
                      int is_columns_first, const ArrowArray* result, const int64_t* new_size) try {
  return (is_colour ? ResizeArrays<uint32_t> : ResizeArrays<uint8_t>)(
      image, {size[0], size[1]}, box, is_cubic, is_columns_first, result, {new_size[0], new_size[1]});
} catch (const std::bad_alloc&) {
  return 1;
}

extern "C" int transform(const ArrowArray* image, const int64_t* size, const double* matrix, int is_cubic,
                         uint32_t fill, const ArrowArray* result) {
  const uint32_t* pixels = PixelsOf<uint32_t>(image, size[0] * size[1]);
  uint32_t* new_pixels = PixelsOf<uint32_t>(result, size[0] * size[1]);
  if (pixels == nullptr || new_pixels == nullptr) return 1;
  const Source source{pixels, static_cast<int32_t>(size[1]), static_cast<int32_t>(size[0])};
  (is_cubic ? Transform<Keys> : Transform<Linear>)(source, matrix, fill, new_pixels);
  return 0;
}

extern "C" void look_up(const uint8_t* image, const int64_t* apart, const int64_t* size, const float* tables,
                        float* result, const int64_t* result_apart) {
  LookUp(image, apart, {size[0], size[1]}, tables, result, result_apart);
}

// Of three bytes a pixel: `image` of so many pixels a row -> `result`, whose size the neighbours have.
extern "C" int interpolate(const uint8_t* image, int64_t width, const Neighbours* rows, const Neighbours* columns,
                           uint8_t* result, const int64_t* new_size) try {
  Interpolate<3>(image, width, *rows, *columns, result, {new_size[0], new_size[1]});
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}
