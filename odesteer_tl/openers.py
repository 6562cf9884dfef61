"""Beginnings of sentences to steer, where one has none of one's own."""

from __future__ import annotations

#: 120 beginnings that most concepts can follow and few come up after by themselves, each written for itself, in a
#: random order, so that any of them are like the others. A study takes them as `prompts="openers"`.
OPENERS: tuple[str, ...] = tuple(
    """
When she came back from the market,
The lecture in the big hall
By the time we got there,
Our neighbours say that
The message on my phone said:
My plan for the weekend is
On the last page she had written:
The doctor told us that
The photograph on the wall
While we were waiting for the bus,
The cake on the table
Under the bridge
Our last day at the sea
The news on the radio
For her birthday she wants
My brother's first car
The driver turned around and
Last Sunday after lunch we
When we reached the hotel,
The bread from the new bakery
On the phone my sister
The blanket in the back of the car
Behind the school there is
The apartment on the third floor
His room in the dormitory
The speech of the mayor
Nobody in the office knew that
The captain of the ship
A few minutes later
His answer to my question was
In the evening the children
The second chapter of the book
At the age of twelve I
What we talked about most was
If someone asks me,
During the break the students
Her grandfather's watch
After two hours in the queue
When I opened the box,
Our trip to the mountains
The garden behind the library
What the neighbours' son told me
When the lights went on again,
This winter the village
What I remember of the journey is
The village where my mother grew up
Next to the post office
The band on the square
The suitcase under the bed
Late in the afternoon
In my opinion, the plan
The woman in the seat next to me
In a small town not far from here
Two of my colleagues
The song she sang
At the end of the film
The man at the counter
The results of the survey
The instructions say that
The concert on Friday
In the second half of the game
The machine in the cellar
As we walked through the park,
The new version of the program
My uncle, who lives abroad,
In the year when I was born
It was nearly noon when
My first week at the new job
Between the two houses
The new road through the valley
The letter I got this morning
The bill for the repair
The soup they served us
The idea came to me when
In the middle of the conversation
The color of the walls
What I have to say is
The view from the window
Someone at the door
The questions in the test
As soon as the rain stopped,
The last bus had gone, so
The owner of the restaurant
When the phone rang,
According to the man I spoke to,
The crowd in front of the theatre
My aunt has always said that
The coffee at this place
The report of the committee
My cousin called to say that
The shop at the corner
Before the meeting we
Once the guests had left,
The path along the lake
Our team has decided to
The first thing I noticed was
My grandmother's kitchen
Yesterday I wrote: the train
I looked into the mirror and
A stranger on the train
The old map in the drawer
The house by the river
The boy with the bicycle
The people who live upstairs
The parcel came on Tuesday, and
Every morning before breakfast
Halfway up the stairs
On our way home from the station
On the first day of the course
The advice that I was given
The chair that my uncle built
The coat I bought in the sale
A new law says that
All through the night
After the lesson the teacher
The guide showed us
The new carpet in the living room
The interview with the director
The tour of the factory
She closed the door and
""".strip().splitlines()
)
