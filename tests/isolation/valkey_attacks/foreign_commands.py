"""Attacks with ordinary commands that name keys and channels outside the sandbox's own."""

from __future__ import annotations

FOREIGN_KEYS = """
GET {B}string
SET {B}string x
SET {B}new x
SETNX {B}new x
SETEX {B}string 1 x
GETSET {B}string x
GETDEL {B}string
GETEX {B}string EX 1
APPEND {B}string x
INCR {B}new
STRLEN {B}string
GETRANGE {B}string 0 -1
SETRANGE {B}string 0 x
MGET {A}string {B}string
MSET {A}string a {B}string x
MSETNX {A}fresh a {B}fresh x
LCS {A}string {B}string
EXISTS {B}string
EXISTS {A}string {B}string
DEL {B}string
DEL {A}none {B}string
UNLINK {B}string
TYPE {B}string
TTL {B}string
PTTL {B}string
EXPIRETIME {B}lasting
EXPIRE {B}string 1
PEXPIRE {B}string 1
EXPIREAT {B}string 1
PERSIST {B}lasting
TOUCH {B}string
RENAME {A}string {B}string
RENAME {B}string {A}stolen
RENAMENX {B}string {A}stolen
COPY {A}string {B}new
COPY {B}string {A}stolen
COPY {A}string {A}copy
DUMP {B}string
DUMP {A}string
RESTORE {B}new 0 x
RESTORE {A}new 0 x
MIGRATE 127.0.0.1 1 {A}string 0 10
MIGRATE 127.0.0.1 1 {B}string 0 10
SORT {A}list
SORT {A}list STORE {B}new
SORT {A}list BY {B}* GET {B}*
SORT {B}list STORE {A}stolen
SORT_RO {A}list GET {B}*
WATCH {B}string
HGETALL {B}hash
HSET {B}hash f x
HDEL {B}hash f
LRANGE {B}list 0 -1
LPUSH {B}list x
LPOP {B}list
LMOVE {B}list {A}stolen LEFT LEFT
LMOVE {A}list {B}list LEFT LEFT
RPOPLPUSH {A}list {B}list
BRPOPLPUSH {B}list {A}stolen 1
BLMOVE {B}list {A}stolen LEFT LEFT 1
BLPOP {B}list 1
BLPOP {A}none {B}list 1
BRPOP {B}list 1
LMPOP 2 {A}none {B}list LEFT
BLMPOP 1 2 {A}none {B}list LEFT
SMEMBERS {B}set
SADD {B}set z
SMOVE {A}set {B}set x
SMOVE {B}set {A}stolen x
SINTER {A}set {B}set
SINTERCARD 2 {A}set {B}set
SUNIONSTORE {A}stolen {B}set
SINTERSTORE {B}new {A}set
SDIFFSTORE {B}set {A}none
ZRANGE {B}zset 0 -1
ZRANGESTORE {A}stolen {B}zset 0 -1
ZUNION 2 {A}zset {B}zset
ZUNIONSTORE {A}stolen 2 {A}zset {B}zset
ZUNIONSTORE {B}new 1 {A}zset
ZDIFFSTORE {B}zset 1 {A}none
ZMPOP 2 {A}none {B}zset MIN
BZPOPMIN {B}zset 1
XADD {B}stream * f x
XRANGE {B}stream - +
XREAD STREAMS {B}stream 0
XREAD STREAMS {A}stream {B}stream 0 0
XREAD BLOCK 100 STREAMS {B}stream $
XREADGROUP GROUP group me STREAMS {B}stream >
XGROUP CREATE {B}stream mine 0
XGROUP DESTROY {B}stream group
XINFO STREAM {B}stream
XINFO GROUPS {B}stream
XTRIM {B}stream MAXLEN 0
XDEL {B}stream 1-1
XACK {B}stream group 1-1
XSETID {B}stream 9-9
PFCOUNT {B}hll
PFADD {B}hll z
PFMERGE {A}stolen {B}hll
PFMERGE {B}hll {A}none
GETBIT {B}bits 7
SETBIT {B}bits 7 0
BITCOUNT {B}bits
BITOP NOT {B}bits {A}string
BITOP NOT {A}stolen {B}bits
BITFIELD {B}bits SET u8 0 0
BITFIELD_RO {B}bits GET u8 0
GEOPOS {B}geo p
GEOADD {B}geo 3 3 q
GEOSEARCHSTORE {A}stolen {B}geo FROMMEMBER p BYRADIUS 1 km
GEOSEARCHSTORE {B}new {A}geo FROMMEMBER p BYRADIUS 1 km
GEORADIUS {A}geo 1 2 1 km STORE {B}new
GEORADIUSBYMEMBER {A}geo p 1 km STOREDIST {B}new
GET string
SET loose 1
GET {A:string
SET * 1
"""


FOREIGN_CHANNELS = """
SUBSCRIBE {B}news
SUBSCRIBE {A}news {B}news
SUBSCRIBE __keyspace@0__:{B}string
SUBSCRIBE __keyevent@0__:set
SUBSCRIBE __redis__:invalidate
PSUBSCRIBE *
PSUBSCRIBE {B}*
PSUBSCRIBE {A}* {B}*
PSUBSCRIBE __key*__:*
PSUBSCRIBE {A}x*
PSUBSCRIBE [{]*
SSUBSCRIBE {B}news
PUBLISH {B}news x
PUBLISH news x
SPUBLISH {B}news x
"""
