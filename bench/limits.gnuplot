# docs/limits.dat, of `micro N growth`, as a picture: see `make plot`

set terminal svg size 760,440 font "sans-serif,14" background "#ffffff" \
    name "limits" rounded
set output out

ours = "#0b6e99"
bare = "#b0562a"

set title "What a decision costs, from a thousand keys to ten million" \
    font "sans-serif,16" offset 0,0.3 textcolor "#222222"
set xlabel "keys in a table that is two thirds full" textcolor "#444444"
set ylabel "nanoseconds" textcolor "#444444" offset 0.8,0

set logscale x 10
set xrange [700:14000000]
set yrange [0:*]
set xtics ("1,000" 1e3, "10,000" 1e4, "100,000" 1e5, "1,000,000" 1e6, \
           "10,000,000" 1e7) nomirror textcolor "#444444"
set ytics nomirror textcolor "#444444"
set mytics 2
set grid ytics lt 1 lw 0.6 lc "#e2e2e2"
set border 3 lw 1 lc "#999999"
set key top left reverse Left samplen 3 spacing 1.25 textcolor "#222222"
set rmargin 5

plot data using 1:4 with linespoints lw 2.6 pt 7 ps 0.7 lc rgb ours \
         title "a decision that waits for the one before it", \
     data using 1:5 with linespoints lw 2.6 pt 7 ps 0.7 lc rgb bare \
         title "a bare load and compare-and-swap that waits", \
     data using 1:2 with linespoints lw 1.6 dt (6,4) pt 6 ps 0.7 lc rgb ours \
         title "decisions that overlap", \
     data using 1:3 with linespoints lw 1.6 dt (6,4) pt 6 ps 0.7 lc rgb bare \
         title "bare ones that overlap"
