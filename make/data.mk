##@ Data sets (experiments make what they need themselves)

GENERATE = $(RUN) generate_vimh.py

ds dataset: $(READY) ## The data set that ARGS describes; without any, 16384 samples of the simple synthesiser
	@$(GENERATE) $(ARGS)

ss simp-small: $(READY) ## 256 random samples of the simple synthesiser, also as a pickle
	@$(GENERATE) dataset.size=256 --pickle $(ARGS)

sl simp-large: $(READY) ## 16384 random samples of it, also as a pickle
	@$(GENERATE) dataset.size=16384 --pickle $(ARGS)

sa simp-avix: $(READY) ## The complete grid of 72 samples, shuffled, also as a pickle
	@$(GENERATE) --avix --shuffle --pickle $(ARGS)

san simp-avix-normalized: $(READY) ## The grid with both envelopes as channels, normalised, also as a pickle
	@$(GENERATE) --avix --shuffle --temporal-envelope --spectral-envelope --normalize --pickle $(ARGS)

sw simp-wide: $(READY) ## 16384 samples over a wide range of velocities
	@$(GENERATE) --config-name generate_simple_wide $(ARGS)

s3 simp-3p: $(READY) ## 32768 samples of three parameters, 64x64
	@$(GENERATE) --config-name generate_simple_3p $(ARGS)

sn simp-noisy: $(READY) ## The same three with noise
	@$(GENERATE) --config-name generate_simple_noisy $(ARGS)

dd display-data: $(READY) ## Look at the newest data set; ARGS="NAME --save out.png", --check, --play
	@$(RUN) display_vimh.py $(ARGS)

sr resonator-data: $(READY) ## 16384 samples of a resonator: frequency and Q
	@$(GENERATE) --config-name generate_resonator $(ARGS)

sst string-data: $(READY) ## 8192 samples of a plucked string: pitch and decay
	@$(GENERATE) --config-name generate_stk $(ARGS)

spl plate-data: $(READY) ## 16384 impulse responses of a plate: six parameters
	@$(GENERATE) --config-name generate_plate $(ARGS)

smx mixed-data: $(READY) ## 8192 samples of the ladder: saw or square, cutoff and decay
	@$(GENERATE) --config-name generate_mixed $(ARGS)

sm moog-data: $(READY) ## The ladder synthesiser: 16384 samples of 4 parameters, 32768 of 10
	@$(GENERATE) --config-name generate_moog_basic $(ARGS)
	@$(GENERATE) --config-name generate_moog_envelope $(ARGS)
