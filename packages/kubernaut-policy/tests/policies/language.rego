# One rule for each thing of the language or library that engines could see differently.
package language

import rego.v1

same := input.x

is_null if input.x == null

is_false if input.x == false

present if input.x

absent if not input.x

kind := type_name(input.x)

size := count(input.list)

total := sum(input.numbers)

largest := max(input.numbers)

ordered := sort(input.words)

average := sum(input.numbers) / count(input.numbers)

rounded := round(input.numbers[0])

floored := floor(input.numbers[0])

quotient := input.numbers[0] / 7

ranged := numbers.range(1, input.numbers[1]) if input.numbers[1] < 20

product := input.numbers[0] * input.numbers[1]

difference := input.numbers[0] - input.numbers[1]

less if input.numbers[0] < input.numbers[1]

alike if input.x == input.y

as_set := {item | some item in input.words}

as_object := {key: value | some key, value in input.map}

keys := object.keys(input.map)

got := object.get(input.map, "a", "none")

merged := object.union(input.map, {"z": 1})

removed := object.remove(input.map, ["a"])

every_short if {
	every item in input.list {
		item != "longer"
	}
}

first := input.list[0]

last := input.list[count(input.list) - 1]

sliced := array.slice(input.list, 1, 3)

joined := array.concat(input.list, ["end"])

lowered := lower(input.word)

begins if startswith(input.text, "a")

ends if endswith(input.text, "e")

holds if contains(input.text, "quote")

parts := split(input.text, "/")

glued := concat("-", [input.text, "x"])

swapped := replace(input.text, "a", "b")

told := sprintf("%s=%v (%d)", [input.text, input.word, count(input.words)])

escaped if input.text == "quote\"d"

accented if input.text == "caf\u00e9"

decoded := json.unmarshal(input.json)

encoded := json.marshal(input.map)

number_of := to_number(input.json)

walked := {path | walk(input.map, [path, value]); is_number(value)}

nested := value if {
	some item in input.list
	value := item.a.b
	is_number(value)
	value > 0
	not value > 1
}

else_chain := "first" if {
	input.x == 1
} else := "second" if {
	input.x == 2
} else := "neither"

with_other := value if {
	value := same with input as {"x": "replaced"}
}
