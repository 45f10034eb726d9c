// Renders a Faust program to float32 on stdout: RATE HELD TOTAL name=value...
// Compiled with `faust -a faust_program.cpp program.dsp`; "gate" is 1 for the first HELD samples.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#define FAUSTFLOAT float

struct Meta {
    void declare(const char*, const char*) {}
};

struct UI {
    std::map<std::string, float*> zones;

    void openTabBox(const char*) {}
    void openHorizontalBox(const char*) {}
    void openVerticalBox(const char*) {}
    void closeBox() {}
    void declare(float*, const char*, const char*) {}
    void addButton(const char* label, float* zone) { zones[label] = zone; }
    void addCheckButton(const char* label, float* zone) { zones[label] = zone; }
    void addVerticalSlider(const char* label, float* zone, float, float, float, float) { zones[label] = zone; }
    void addHorizontalSlider(const char* label, float* zone, float, float, float, float) { zones[label] = zone; }
    void addNumEntry(const char* label, float* zone, float, float, float, float) { zones[label] = zone; }
    void addHorizontalBargraph(const char*, float*, float, float) {}
    void addVerticalBargraph(const char*, float*, float, float) {}
};

struct dsp {
    virtual ~dsp() {}
};

<<includeIntrinsic>>
<<includeclass>>

int main(int count, char** arguments) {
    const int rate = std::atoi(arguments[1]), held = std::atoi(arguments[2]), total = std::atoi(arguments[3]);
    mydsp program;
    program.init(rate);
    UI ui;
    program.buildUserInterface(&ui);
    for (int k = 4; k < count; k++) {
        const char* equals = std::strchr(arguments[k], '=');
        *ui.zones.at(std::string(arguments[k], equals - arguments[k])) = std::atof(equals + 1);
    }
    std::vector<float> sound(total);
    float* gate = ui.zones.at("gate");
    for (int start = 0; start < total; start = start < held ? held : total) {
        const int stop = start < held ? held : total;
        *gate = start < held ? 1 : 0;
        float* output = sound.data() + start;
        program.compute(stop - start, nullptr, &output);
    }
    std::fwrite(sound.data(), sizeof(float), total, stdout);
}
