relion_star_handler --i duplicates/in.star --o duplicates/out1.star --remove_duplicates 100
