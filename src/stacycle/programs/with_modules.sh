# Loads environment modules and becomes a program: COUNT MODULE... PROGRAM ARGUMENT...
# Not for a login shell, which would run the user's own start-up files and make the PATH anew; bash reads $BASH_ENV.
stacycle=("$@")
if ! type module > /dev/null 2>&1; then
    stacycle_path=$PATH
    . /etc/profile > /dev/null 2>&1
    PATH=$stacycle_path:$PATH
fi
if ! type module > /dev/null 2>&1; then
    echo "there is no command module on $HOSTNAME" >&2
    exit 127
fi
module load "${stacycle[@]:1:stacycle[0]}" || exit 127
exec "${stacycle[@]:stacycle[0]+1}"
