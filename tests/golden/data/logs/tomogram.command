relion_tomo_reconstruct_tomogram --t input/tomograms.star --tn TS_01 --o tomogram/ --w 320 --h 320 --d 64 --z0 16 --binned_angpix 40 --do_proj --thickness_proj 4 --j 1
