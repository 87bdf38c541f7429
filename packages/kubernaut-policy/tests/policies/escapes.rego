# Built-ins that look inside of strings: where regopy would see the escapes of a quote, a backslash, a newline.
package escapes

import rego.v1

upper_case := upper(input.text)

middle := substring(input.text, 1, 2)

at := indexof(input.text, "b")

trimmed := trim(input.text, "\n")

spaces := trim_space(input.text)

matches if regex.match(`^[a-z\s]*$`, input.text)

turned := strings.reverse(input.text)

sixty_four := base64.encode(input.text)

untouched := input.other
